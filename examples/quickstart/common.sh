# What both quickstarts do: a temporary folder, programs that end with the
# script, and checkbus itself. They source it.
set -euo pipefail
ulimit -c 0 # a daemon that crashes leaves no file here

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/checkbus-quickstart.XXXXXX")
started=()

# Ends what start began, the last first, and nothing else. An Icinga 2 that is
# ended while it starts leaves a process behind; hence the process groups.
finish() {
	trap - EXIT
	trap '' INT TERM
	for ((i = ${#started[@]} - 1; i >= 0; i--)); do
		kill "${started[i]}" 2>/dev/null || true
		wait "${started[i]}" 2>/dev/null || true
		kill -KILL -- "-${started[i]}" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM

# start NAME COMMAND... runs a daemon, in a process group of its own, until the
# script ends; it prints to NAME.out.
start() {
	local log=$dir/$1.out
	shift
	set -m
	"$@" >"$log" 2>&1 &
	set +m
	started+=($!)
}

# await WHAT COMMAND... waits until COMMAND succeeds, at most a minute, and
# while everything that was started runs.
await() {
	local what=$1
	shift
	for ((tries = 0; tries < 600; tries++)); do
		if "$@" >/dev/null 2>&1; then
			return
		fi
		sleep 0.1
		for pid in "${started[@]}"; do
			kill -0 "$pid" 2>/dev/null || give_up "a daemon ended"
		done
	done
	give_up "gave up waiting for $what"
}

give_up() {
	echo "$1; the last output was:" >&2
	tail -n 20 "$dir"/*.out >&2
	exit 1
}

# need PROGRAM PACKAGE prints the program's path.
need() {
	PATH=$PATH:/usr/sbin command -v "$1" || {
		echo "$1 is missing; apt-get install $2" >&2
		exit 1
	}
}

answers() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints a port that nobody listens on.
free_port() {
	local port
	while port=$((10000 + RANDOM % 10000)) && answers "$port"; do :; done
	echo "$port"
}

# start_checkbus SETTINGS starts the gateway on $port, with further settings
# from SETTINGS. $CHECKBUS may name a binary that is built already.
start_checkbus() {
	port=$(free_port)
	until web=$(free_port) && [ "$web" != "$port" ]; do :; done
	cat - "$1" >"$dir/checkbus.toml" <<END
data_dir = "$dir/spool"

[[listener]]
address = "127.0.0.1:$port"

[web]
address = "127.0.0.1:$web"

END
	shown=${CHECKBUS:-go run ./cmd/checkbus}
	if [ -z "${CHECKBUS:-}" ]; then
		echo "building checkbus"
		CHECKBUS=$dir/checkbus
		(cd "$repo" && go build -o "$CHECKBUS" ./cmd/checkbus)
	fi
	start checkbus "$CHECKBUS" serve -config "$dir/checkbus.toml"
	await "checkbus" answers "$port"
}

publish() {
	echo "    mosquitto_pub -p $port -q 1 -t '$1' -m '$2'"
	mosquitto_pub -h 127.0.0.1 -p "$port" -q 1 -t "$1" -m "$2"
}

publish_some() {
	echo "publishing:"
	publish nagios/web1 '{"exit_code": "UP", "reason": "booted"}'
	publish nagios/web1/disk '{"exit_code": 2, "reason": "DISK CRITICAL - / 97%|/=97%;90;95"}'
	publish nagios/web1/backup '{"exit_code": 0, "reason": "BACKUP OK - 14 GB in 320 s"}'
	publish nagios/web1/unheard-of '{"exit_code": 0, "reason": "nobody monitors this"}'
}

# show_rejected prints what checkbus refused, and why.
show_rejected() {
	await "the refusal" rejected
	echo "refused, as \"checkbus rejected\" tells:"
	rejected
}

rejected() { "$CHECKBUS" rejected -config "$dir/checkbus.toml" | grep . | sed 's/^/    /'; }

# run_until_interrupted says where everything is, and waits.
run_until_interrupted() {
	echo
	echo "The gateway listens on 127.0.0.1:$port, its console is at http://127.0.0.1:$web/; settings and logs are in $dir."
	echo "To see what changes:"
	echo "    $shown watch -address 127.0.0.1:$port"
	echo "    $shown status -address 127.0.0.1:$web"
	echo "Ctrl-C ends it all."
	wait -n || true
	give_up "a daemon ended"
}
