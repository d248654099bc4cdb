"""What every HTML page of ours is made of: the template, numbers as text, pictures made fit for a page."""
