"""What a measuring window says, and how its spectra are had from uneven samples."""
