"""What people look at: the terminal, pictures as HTML and PNG, and progress."""
