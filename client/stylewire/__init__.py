"""The stylewire client."""
