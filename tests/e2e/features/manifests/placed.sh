# Pods for the nodes of nodes.yaml: `. ./placed.sh; placed NAME LABELS SPEC` prints one, LABELS and SPEC as inner JSON.
placed() {
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{%s}},"spec":{"terminationGracePeriodSeconds":0,' "$1" "$2"
  printf '"nodeSelector":{"row":"%s"},"tolerations":[{"key":"row","operator":"Exists"}],' "$NAMESPACE"
  case "$3" in
  *'"containers"'*) ;;
  *) printf '"containers":[{"name":"c","image":"none"}]%s' "${3:+,}" ;;
  esac
  printf '%s}}\n' "$3"
}
