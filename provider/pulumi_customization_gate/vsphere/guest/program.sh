
# What follows is the same for every script. It is called `sh <this file> run <attempt>`, or `... stop`.
home=$PWD
here=$(cd "$(dirname "$0")" && pwd) || exit 70
cd "$here" || exit 70

if [ "$1" = stop ]; then
    group=$(cat group) || exit 0
    kill -s TERM -- "-$group" 2>/dev/null || kill -s TERM "$group"
    for _ in 1 2 3; do
        sleep 1
        kill -s 0 -- "-$group" 2>/dev/null || kill -s 0 "$group" 2>/dev/null || exit 0
    done
    kill -s KILL -- "-$group" 2>/dev/null || kill -s KILL "$group"
    exit 0
fi

# Whoever makes this directory runs the script: a request that is delivered twice finds it there.
mkdir "started-$2" || exit 0

# A session of its own, where the guest can make one, so that `stop` reaches the script's children too.
session=
command -v setsid >/dev/null 2>&1 && session=setsid
(cd "$home" && script) </dev/null >stdout 2>stderr &
echo "$!" >group.part && mv group.part group
wait "$!"
code=$?

tail -c "$limit" stdout >stdout.end
tail -c "$limit" stderr >stderr.end
{
    echo "$code" $(wc -c <stdout) $(wc -c <stdout.end) $(wc -c <stderr) $(wc -c <stderr.end)
    cat stdout.end stderr.end
} >outcome.part && mv outcome.part outcome
