# Makes the scanner's folder, in the manifest's, which is new itself.
rm -rf -- /workspace/.harvest/scan && mkdir -m 700 /workspace/.harvest/scan
