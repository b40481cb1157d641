"""How often a quiet shop is cried over, and which incidents are seen: counts made up by chance."""
