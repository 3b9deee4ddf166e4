package checks

// An Object is what a check is about: a host, or a service on it.
type Object struct {
	Host    string
	Service string // empty for the host itself
}

// IsHost reports whether o is a host rather than a service.
func (o Object) IsHost() bool { return o.Service == "" }

// String is the name that Icinga uses: "db1" or "db1!disk".
func (o Object) String() string {
	if o.IsHost() {
		return o.Host
	}
	return o.Host + "!" + o.Service
}
