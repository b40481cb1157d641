"""Images of products: taken in from files and addresses, made anew, kept, served."""
