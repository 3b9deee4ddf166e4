# Completion of check_mqtt for bash. Put it into
# /usr/share/bash-completion/completions/check_mqtt, or source it.

_check_mqtt() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local modes='connect roundtrip read age rate sys will cert acl-deny gateway passthrough'
	local all='--hostname --port --transport --path --mqtt-version --timeout --user --password-file --password
		--client-id --keepalive --clean --ca --cert --key --server-name --insecure
		--timeout-state --message --verbose --version --help --compat=jpmens'
	local listen='--topic --qos --retained --window --missing-state'
	local own
	case ${COMP_WORDS[1]} in
	connect | cert) own='--warning --critical' ;;
	read) own="--warning --critical $listen --expect --operator --json --metric --time-path --age-warning --age-critical" ;;
	age) own="--warning --critical $listen --time-path --per-topic" ;;
	rate) own="--warning --critical $listen" ;;
	sys) own='--warning --critical --value --window --missing-state' ;;
	will) own='--warning --critical --topic --qos --payload' ;;
	acl-deny) own='--topic --qos --payload --deny --window --missing-state --witness-user --witness-password-file' ;;
	gateway) own='--warning --critical --result-host --result-service --core --root' ;;
	passthrough) own="$listen --time-path --age-warning --age-critical" ;;
	*) own='--warning --critical --topic --qos --reply-topic --payload --expect --operator --json' ;;
	esac

	case $prev in
	--transport) COMPREPLY=($(compgen -W 'tcp tls ws wss' -- "$cur")) ;;
	--mqtt-version) COMPREPLY=($(compgen -W '3.1.1 5' -- "$cur")) ;;
	--qos) COMPREPLY=($(compgen -W '0 1 2' -- "$cur")) ;;
	--clean) COMPREPLY=($(compgen -W 'true false' -- "$cur")) ;;
	--operator) COMPREPLY=($(compgen -W 'eq ne contains regex' -- "$cur")) ;;
	--retained) COMPREPLY=($(compgen -W 'accept ignore require' -- "$cur")) ;;
	--core) COMPREPLY=($(compgen -W 'nagios icinga' -- "$cur")) ;;
	--deny) COMPREPLY=($(compgen -W 'publish subscribe' -- "$cur")) ;;
	--timeout-state | --missing-state) COMPREPLY=($(compgen -W 'ok warning critical unknown' -- "$cur")) ;;
	--value) COMPREPLY=($(compgen -W 'clients/connected clients/total messages/received messages/sent bytes/received bytes/sent subscriptions/count heap/current uptime version' -- "$cur")) ;;
	--ca | --cert | --key | --password-file | --witness-password-file) COMPREPLY=($(compgen -f -- "$cur")) ;;
	-H | --hostname) COMPREPLY=($(compgen -A hostname -- "$cur")) ;;
	*)
		if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then
			COMPREPLY=($(compgen -W "$modes" -- "$cur"))
		else
			COMPREPLY=($(compgen -W "$all $own" -- "$cur"))
		fi
		;;
	esac
}
complete -F _check_mqtt check_mqtt
