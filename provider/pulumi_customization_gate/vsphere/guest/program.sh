
# What follows is the same for every script. This file is called with one word:
#   run     runs the script, unless its run is claimed already
#   stop    ends the script, or claims its run so that it never starts
#   settle  writes the outcome of a run that died without one
home=$PWD
here=$(cd "$(dirname "$0")" && pwd) || exit 70
cd "$here" || exit 70

# A process is its PID, its start time and the boot: the PID alone may belong to another process by now.
boot() {
    cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo
}

start_time() { # of a process; nothing if it does not run
    if [ -r /proc/self/stat ]; then
        stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
        set -- ${stat##*") "}
        case $1 in Z | X) ;; *) echo "${20}" ;; esac
    else
        ps -o lstart= -p "$1" 2>/dev/null || return 0
    fi
}

identity() {
    echo "$1" && start_time "$1" && boot
}

runs() { # whether the process runs whose identity is in a file
    pid='' start='' booted=''
    [ -s "$1" ] && { IFS= read -r pid && IFS= read -r start && IFS= read -r booted; } <"$1"
    [ -n "$start" ] && [ "$start" = "$(start_time "$pid")" ] && [ "$booted" = "$(boot)" ]
}

signal() { # sends a signal to the script and its children; fails if none of them is left
    if runs process; then
        kill -s "$1" -- "-$pid" 2>/dev/null || kill -s "$1" "$pid" 2>/dev/null
    else
        # Only its children are left. While they are, their group keeps the number from being used again.
        [ -n "$pid" ] && [ "$booted" = "$(boot)" ] && [ -z "$(start_time "$pid")" ] &&
            kill -s "$1" -- "-$pid" 2>/dev/null
    fi
}

claim() { # fails if the run is claimed already; ends this program if nothing can be written here
    identity "$$" >"claim.$$" && ln "claim.$$" claim 2>/dev/null
    claimed=$?
    rm -f "claim.$$"
    [ "$claimed" = 0 ] || [ -e claim ] || exit 73
    return "$claimed"
}

finish() { # writes the outcome, whole or not at all; $1 is an exit code, "none" or "never"
    for stream in stdout stderr; do
        [ -e $stream ] || : >$stream
        tail -c "$limit" $stream >$stream.end
    done
    {
        echo "$1" $(wc -c <stdout) $(wc -c <stdout.end) $(wc -c <stderr) $(wc -c <stderr.end) "${began:-0}" "$(date +%s)"
        cat stdout.end stderr.end
    } >"outcome.$$" && mv "outcome.$$" outcome || exit 74
    rm -f script script.ps1 launch.ps1 program.sh stdin process stdout stderr stdout.end stderr.end progress
}

case $1 in
run)
    claim || exit 0
    # Found before the script's own PATH is set.
    session=$(command -v setsid) || session=
    found=$(command -v "$interpreter") || found=$interpreter
    began=$(date +%s)
    (cd "$home" && script) <"$stdin" >stdout 2>stderr &
    child=$!
    # A script whose identity cannot be written runs all the same; it only cannot be stopped.
    { identity "$child" >process.part && mv process.part process; } 2>/dev/null
    if [ -n "$progress" ]; then
        while sleep 2 && [ -e claim ] && [ ! -e outcome ]; do
            { wc -c <stdout && tail -c 4096 stdout; } >progress.part && mv progress.part progress
        done 2>/dev/null &
        watcher=$!
    fi
    wait "$child"
    code=$?
    [ -z "$progress" ] || kill "$watcher" 2>/dev/null
    finish "$code"
    ;;
stop)
    [ -e outcome ] && exit 0
    claim && { finish never; exit; }
    for _ in 1 2 3; do
        [ -s process ] && break
        sleep 1
    done
    signal TERM || exit 0
    for _ in 1 2 3; do
        sleep 1
        signal 0 || exit 0
    done
    signal KILL
    ;;
settle)
    { [ -e claim ] && ! runs claim && ! runs process; } || exit 0
    [ -e outcome ] || finish none
    ;;
esac
