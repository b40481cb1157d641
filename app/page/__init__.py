"""The page at `/`: plain ES modules and CSS of our own, over a few locked npm packages."""
