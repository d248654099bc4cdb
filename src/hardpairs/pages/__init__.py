"""The parts of every HTML page of ours: templates, charts, images, numbers as text.

A page loads nothing: style, images and charts are in it. Start reading at ``template``.
"""
