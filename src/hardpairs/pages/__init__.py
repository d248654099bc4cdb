"""What every HTML page of ours is made of: templates, charts, images, numbers as text.

A page loads nothing: style, images and charts are in it. Start reading at ``template``.
"""
