"""The engine side of a release: builds, tries, ships, watches and takes back an image. It knows nothing of GitHub."""
