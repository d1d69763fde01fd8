"""What people get to see of a run: documents, maps, plots, exports. Everything here only reads."""
