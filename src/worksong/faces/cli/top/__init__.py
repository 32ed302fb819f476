"""`worksong top`: a live dashboard in the terminal."""
