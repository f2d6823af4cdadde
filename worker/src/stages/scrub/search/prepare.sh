# Makes the scanner's folder anew, in one that is made anew as well: what stood in their places was the repository's.
folder=/workspace/.harvest
chmod u+rwx /workspace 2>/dev/null
chmod -R u+rwX "$folder" 2>/dev/null
rm -rf -- "$folder" || exit 1
mkdir -m 755 "$folder" && mkdir -m 700 "$folder/scan"
