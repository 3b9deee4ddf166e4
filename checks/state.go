package checks

// A State is what a check found, in the words of the Monitoring Plugins
// guidelines for services and of Nagios and Icinga for hosts.
type State uint8

// The states of services, numbered like a plugin's exit codes, then those of
// hosts. Pending is an object that no check has reported yet.
const (
	OK State = iota
	Warning
	Critical
	Unknown
	Up
	Down
	Unreachable
	Pending
)

var stateNames = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN", "UP", "DOWN", "UNREACHABLE", "PENDING"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "INVALID"
}

// ExitCode is the number a core takes for s: 0 to 3 for a service, and for a
// host 0 when it is up, 1 when it is down, 2 when it is unreachable.
func (s State) ExitCode() int {
	switch s {
	case OK, Warning, Critical, Unknown:
		return int(s)
	case Down:
		return 1
	case Unreachable:
		return 2
	}
	return 0
}
