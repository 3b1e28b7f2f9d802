#compdef NAME
# Completes NAME in zsh. Use it with: source <(NAME completion zsh), or as a file _NAME in a folder of $fpath.
_FUNCTION() {
    local program=${(Q)words[1]/#\~\//$HOME/} current=${(Q)PREFIX} flag='' line directive=4
    whence -p -- $program > /dev/null || program=NAME
    if [[ $current == -*=* ]]; then flag=${current%%=*}=; fi
    local -a values shown options
    local described=0
    for line in ${(f)"$($program COMPLETE "${(@Q)words[2,CURRENT-1]}" "$current" 2> /dev/null)"}; do
        if [[ $line == :* ]]; then
            directive=${line#:}
            continue
        fi
        values+=("$flag${line%%$'\t'*}")
        if [[ $line == *$'\t'* ]]; then
            described=1
            shown+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
        else
            shown+=("${line%%$'\t'*}")
        fi
    done
    if (( $#values == 0 )); then
        if (( ! (directive & 4) )); then _files; fi
        return
    fi
    if (( directive & 2 )); then options+=(-S ''); fi
    if (( described )); then options+=(-l); fi
    compadd -V NAME $options -d shown -a values
}
if [[ ${funcstack[1]-} == _FUNCTION ]]; then
    _FUNCTION "$@"
else
    if (( ! $+functions[compdef] )); then autoload -Uz compinit && compinit; fi
    compdef _FUNCTION NAME
fi
