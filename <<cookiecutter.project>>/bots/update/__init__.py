"""Updates the project to a newer template: fetch it, bake it, merge what it changed, and bring that as a pull request.

Three steps, because the second runs the template's own code: it gets no token, and the third runs nothing of it.
"""
