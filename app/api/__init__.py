"""HTTP and websockets: events in, figures out."""
