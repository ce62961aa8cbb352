"""The instances that Turnlock starts itself: which program serves an engine, and the loop that makes, keeps and ends them."""
