# Completion of check_mqtt for fish. Put it into
# /usr/share/fish/vendor_completions.d/check_mqtt.fish.

# __check_mqtt_takes is true in the modes that it is given; roundtrip is the mode
# when none is named.
function __check_mqtt_takes
	set -l words (commandline -opc)
	set -l mode roundtrip
	if set -q words[2]; and not string match -q -- '-*' $words[2]
		set mode $words[2]
	end
	contains -- $mode $argv
end

complete -c check_mqtt -f
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a roundtrip -d "publish, and wait for the echo"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a connect -d "TCP, TLS and CONNECT"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a read -d "a message's text, numbers and age"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a age -d "how long ago topics last spoke"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a rate -d "messages per second"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a sys -d 'values below $SYS'
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a will -d "a vanished client's will is published"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a cert -d "days until the broker's certificate ends"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a acl-deny -d "a publish or subscribe that must be refused"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a gateway -d "a result passes through checkbus"
complete -c check_mqtt -n "test (count (commandline -opc)) -eq 1" -a passthrough -d "a message is the result"

complete -c check_mqtt -s H -l hostname -x -a '(__fish_print_hostnames)' -d 'the broker'
complete -c check_mqtt -s p -l port -x -d 'its port'
complete -c check_mqtt -l transport -x -a 'tcp tls ws wss' -d 'tcp, tls, ws or wss'
complete -c check_mqtt -l path -x -d 'of the WebSocket'
complete -c check_mqtt -l mqtt-version -x -a '3.1.1 5' -d '3.1.1 or 5'
complete -c check_mqtt -s t -l timeout -x -d 'the check ends within it, whatever happens'
complete -c check_mqtt -s u -l user -x -d 'user name'
complete -c check_mqtt -l password-file -r -F -d 'its first line is the password'
complete -c check_mqtt -l password -x -d 'the password, for everyone to see'
complete -c check_mqtt -l client-id -x -d 'client identifier'
complete -c check_mqtt -l keepalive -x -d 'keep-alive, whole seconds, 0 for none'
complete -c check_mqtt -l clean -x -a 'true false' -d 'false resumes the session of the client identifier'
complete -c check_mqtt -l ca -r -F -d 'PEM certificates to trust'
complete -c check_mqtt -l cert -r -F -d 'PEM client certificate'
complete -c check_mqtt -l key -r -F -d 'PEM key of the client certificate'
complete -c check_mqtt -l server-name -x -d "name that the broker's certificate is for"
complete -c check_mqtt -l insecure -d 'verify no certificate; the output says so'
complete -c check_mqtt -n '__check_mqtt_takes connect roundtrip read age rate sys will cert gateway' -s w -l warning -x -d "WARNING when the mode's value leaves it"
complete -c check_mqtt -n '__check_mqtt_takes connect roundtrip read age rate sys will cert gateway' -s c -l critical -x -d "CRITICAL when the mode's value leaves it"
complete -c check_mqtt -l timeout-state -x -a 'ok warning critical unknown' -d 'result of a time-out'
complete -c check_mqtt -n '__check_mqtt_takes read age rate sys acl-deny passthrough' -l missing-state -x -a 'ok warning critical unknown' -d 'result when the data is not there'
complete -c check_mqtt -l message -x -d 'the text to print'
complete -c check_mqtt -s v -l verbose -d 'more after the first line'
complete -c check_mqtt -s V -l version -d 'print the version'
complete -c check_mqtt -s h -l help -d 'print this'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip read age rate will acl-deny passthrough' -s T -l topic -x -d 'topic, or filter where the mode only reads'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip read age rate will acl-deny passthrough' -l qos -x -a '0 1 2' -d 'quality of service'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip' -l reply-topic -x -d 'where the echo comes back'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip will acl-deny' -l payload -x -d 'what is published'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip read' -l expect -x -d 'what the payload, or the value at --json, is compared with'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip read' -l operator -x -a 'eq ne contains regex' -d 'how: eq, ne, contains or regex'
complete -c check_mqtt -n '__check_mqtt_takes roundtrip read' -l json -x -d 'compare the value at this path of a JSON payload'
complete -c check_mqtt -n '__check_mqtt_takes read' -l metric -x -d 'LABEL=PATH and its unit, bounds and ranges'
complete -c check_mqtt -n '__check_mqtt_takes read age passthrough' -l time-path -x -d "JSON path of the payload's time stamp"
complete -c check_mqtt -n '__check_mqtt_takes read passthrough' -l age-warning -x -d 'WARNING when the age at --time-path leaves it'
complete -c check_mqtt -n '__check_mqtt_takes read passthrough' -l age-critical -x -d 'CRITICAL when the age at --time-path leaves it'
complete -c check_mqtt -n '__check_mqtt_takes read age rate passthrough' -l retained -x -a 'accept ignore require' -d 'what of retained messages'
complete -c check_mqtt -n '__check_mqtt_takes read age rate sys acl-deny passthrough' -l window -x -d 'how long to listen'
complete -c check_mqtt -n '__check_mqtt_takes age' -l per-topic -d 'performance data for every topic'
complete -c check_mqtt -n '__check_mqtt_takes sys' -l value -x -a 'clients/connected clients/total messages/received messages/sent bytes/received bytes/sent subscriptions/count heap/current uptime version' -d 'a value below $SYS/broker and its unit, bounds and ranges'
complete -c check_mqtt -n '__check_mqtt_takes acl-deny' -l deny -x -a 'publish subscribe' -d 'publish or subscribe: what must be refused'
complete -c check_mqtt -n '__check_mqtt_takes acl-deny' -l witness-user -x -d 'a user who may do it, to prove that others may not'
complete -c check_mqtt -n '__check_mqtt_takes acl-deny' -l witness-password-file -r -F -d "the witness's password"
complete -c check_mqtt -n '__check_mqtt_takes gateway' -l result-host -x -d 'host to publish a result for'
complete -c check_mqtt -n '__check_mqtt_takes gateway' -l result-service -x -d 'its service'
complete -c check_mqtt -n '__check_mqtt_takes gateway' -l core -x -a 'nagios icinga' -d 'nagios or icinga: the core that must have it'
complete -c check_mqtt -n '__check_mqtt_takes gateway' -l root -x -d "the gateway's topic for results"
complete -c check_mqtt -l compat=jpmens -d 'take the options of jpmens/check-mqtt'
