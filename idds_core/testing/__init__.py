"""Laws and fakes for authors of learners and providers."""
