"""What a reply asks for: calls in every form that models write, and which words of a reply are none."""
