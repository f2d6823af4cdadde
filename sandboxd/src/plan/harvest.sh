# A login shell has just reset PATH: put the prebuild's own tools first again.
case ":$PATH:" in
  *":/home/harvest/.harvest/bin:"*) ;;
  *) PATH="/home/harvest/.harvest/bin:$PATH" ;;
esac
export PATH
