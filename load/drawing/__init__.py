"""Charts as SVG files that need nothing from elsewhere, for light and dark pages."""
