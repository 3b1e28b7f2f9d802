# Completes NAME in fish. Use it with: NAME completion fish | source
function __FUNCTION_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l program $words[1]
    set -e words[1]
    type -q -- $program; or set program NAME
    set -l flag (string match --regex -- '^-[^=]*=' $current)
    set -l found 0
    set -l directive 4
    for line in ($program COMPLETE $words "$current" 2> /dev/null)
        if string match -q ':*' -- $line
            set directive (string sub --start 2 -- $line)
        else
            set found 1
            echo "$flag$line"
        end
    end
    if test $found -eq 0; and test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path $current
    end
end
complete --command NAME --erase
complete --command NAME --no-files --keep-order --arguments '(__FUNCTION_complete)'
