# Completes NAME in bash. Use it with: source <(NAME completion bash)
__FUNCTION_complete() {
    local program=${1/#\~\//$HOME/} rest=$COMP_LINE word i
    local -a words=()
    type -P -- "$program" > /dev/null 2>&1 || program=NAME
    # bash splits at the characters of COMP_WORDBREAKS, such as the colon before a tag. Put the words together again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]-}
        if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${rest#"$word"}
    done
    # What stands behind the cursor does not count.
    local last=$((${#words[@]} - 1)) behind=${COMP_LINE:COMP_POINT}
    local current=${words[last]}
    if ((${#behind} > ${#rest})); then
        current=${current:0:${#current} - ${#behind} + ${#rest}}
    fi
    # The answer is a flag's value without the flag, and bash wants what stands behind the last break.
    local flag='' head='' breaks=${COMP_WORDBREAKS//[^:=@]/}
    if [[ $current == -*=* ]]; then flag=${current%%=*}=; fi
    if [[ -n $breaks ]]; then head=${current%"${current##*["$breaks"]}"}; fi
    local directive=4
    COMPREPLY=()
    while IFS= read -r word; do
        if [[ $word == :* ]]; then
            directive=${word#:}
            continue
        fi
        word=$flag${word%%$'\t'*}
        if [[ $word == "$head"* ]]; then COMPREPLY+=("${word#"$head"}"); fi
    done < <("$program" COMPLETE "${words[@]:1:last - 1}" "$current" 2> /dev/null)
    if ((directive & 2)); then compopt -o nospace 2> /dev/null; fi
    if ((directive & 4)); then compopt +o default 2> /dev/null; fi
    return 0
}
complete -o default -o nosort -F __FUNCTION_complete NAME 2> /dev/null || complete -o default -F __FUNCTION_complete NAME
