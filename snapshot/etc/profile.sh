# A login shell has just set PATH anew: put back what the image's ENV says. The repository's own tools come first.
for harvest_folder in /home/harvest/.local/bin /home/harvest/.npm-global/bin /home/harvest/.harvest/bin; do
  case ":$PATH:" in
    *":$harvest_folder:"*) ;;
    *) PATH="$harvest_folder:$PATH" ;;
  esac
done
unset harvest_folder
export PATH
export LANG="${LANG:-C.UTF-8}"
export NPM_CONFIG_PREFIX="${NPM_CONFIG_PREFIX:-/home/harvest/.npm-global}"
export MEMORY_FILE_PATH="${MEMORY_FILE_PATH:-/home/harvest/.mcp-memory/memory.jsonl}"
