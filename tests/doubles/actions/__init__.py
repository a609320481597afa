"""Stand-ins for the actions that the generated workflows use, for act on a machine without GitHub.

Each does what the real one does, with real git and real folders, for the inputs that it names in its action.yml, and
fails on anything else: what passes here has been asked for in a way that the real one understands.
"""
