package broker

import "strings"

// An aclFile is an ACL file and decisions that Mosquitto takes with it. The
// table says what is expected of both, so that it tests without Mosquitto too.
type aclFile struct {
	text  string
	cases []aclCase
}

type aclCase struct {
	user, client string // user "" is anonymous; client "" is any of its own
	verb         string // read or write
	topic        string
	want         bool
}

func (c aclCase) String() string {
	return strings.Join([]string{"user=" + c.user, "client=" + c.client, c.verb, c.topic}, " ")
}

// aclAdmin is added to each file, for the publishes of the test itself. It
// changes nothing for others: patterns come after its own grants.
const aclAdmin = "\nuser admin\ntopic readwrite #\ntopic readwrite $x/#\n"

var aclFiles = map[string]aclFile{
	"sections": {
		"topic read public/#\n" +
			"topic readwrite lobby\n" +
			"\n" +
			"# a comment\n" +
			"user bob\n" +
			"topic bob/both\n" +
			"topic read bob/in\n" +
			"topic write bob/out\n" +
			"user eve\n" +
			"topic write eve/+/out\n" +
			"topic read eve/#\n" +
			"user bob\n" +
			"topic read bob/again\n",
		[]aclCase{
			{"", "", "read", "public/a/b", true},
			{"", "", "read", "public", true},
			{"", "", "write", "public/a", false},
			{"", "", "write", "lobby", true},
			{"", "", "read", "lobby", true},
			{"", "", "read", "bob/both", false},
			{"bob", "", "read", "public/a/b", false},
			{"bob", "", "write", "lobby", false},
			{"bob", "", "read", "bob/both", true},
			{"bob", "", "write", "bob/both", true},
			{"bob", "", "read", "bob/in", true},
			{"bob", "", "write", "bob/in", false},
			{"bob", "", "read", "bob/out", false},
			{"bob", "", "write", "bob/out", true},
			{"bob", "", "read", "bob/again", true},
			{"bob", "", "read", "eve/x", false},
			{"eve", "", "write", "eve/1/out", true},
			{"eve", "", "write", "eve//out", true},
			{"eve", "", "write", "eve/1/2/out", false},
			{"eve", "", "read", "eve", true},
			{"eve", "", "read", "eve/1/2", true},
			{"Bob", "", "read", "bob/in", false},
			{"nobody", "", "read", "public/a/b", false},
		},
	},
	"denials": {
		"user bob\n" +
			"topic readwrite a/#\n" +
			"topic deny a/secret/#\n" +
			"topic deny a/+/key\n" +
			"user eve\n" +
			"topic deny #\n" +
			"topic readwrite b\n" +
			"user pat\n" +
			"topic readwrite p/#\n" +
			"pattern deny p/%u/#\n" +
			"pattern read q/%u/#\n" +
			"pattern deny q/%u/hidden\n" +
			"pattern read r/#\n",
		[]aclCase{
			{"bob", "", "write", "a/b", true},
			{"bob", "", "write", "a/secret", false},
			{"bob", "", "read", "a/secret/b", false},
			{"bob", "", "read", "a/x/key", false},
			{"bob", "", "read", "a/x/keys", true},
			{"eve", "", "read", "b", false},
			{"eve", "", "write", "b", false},
			{"eve", "", "read", "r/x", false},
			{"pat", "", "read", "p/pat/x", true}, // the user's grant comes first
			{"pat", "", "write", "p/pat/x", true},
			{"pat", "", "read", "q/pat/x", true},
			{"pat", "", "read", "q/pat/hidden", false},
			{"pat", "", "read", "q/bob/hidden", false},
			{"bob", "", "read", "q/bob/x", true},
			{"bob", "", "write", "q/bob/x", false},
			{"bob", "", "read", "r/x", true},
			{"", "", "read", "r/x", true},
			{"", "", "read", "q//x", false},
		},
	},
	"patterns": {
		"pattern read in/%u/#\n" +
			"pattern write out/%c/data\n" +
			"pattern both/%u/%c\n" +
			"pattern readwrite part/a%ub-%c\n" +
			"pattern readwrite percent/%%u/%x/%\n" +
			"topic read anonymous/only\n" +
			"user special+\n" +
			"topic read own/topic\n",
		[]aclCase{
			{"bob", "dev1", "read", "in/bob/x", true},
			{"bob", "dev1", "read", "in/bob", true},
			{"bob", "dev1", "read", "in/eve/x", false},
			{"bob", "dev1", "write", "in/bob/x", false},
			{"bob", "dev1", "write", "out/dev1/data", true},
			{"bob", "dev1", "write", "out/dev2/data", false},
			{"bob", "dev1", "read", "out/dev1/data", false},
			{"bob", "dev1", "write", "both/bob/dev1", true},
			{"bob", "dev1", "read", "both/bob/dev1", true},
			{"bob", "dev1", "read", "both/dev1/bob", false},
			{"bob", "dev1", "write", "part/abobb-dev1", true},
			{"bob", "dev1", "write", "percent/%bob/%x/%", true},
			{"bob", "dev1", "read", "anonymous/only", false},
			{"", "dev3", "read", "anonymous/only", true},
			{"", "dev3", "write", "out/dev3/data", true},
			{"", "dev3", "read", "in//x", false},
			{"", "dev3", "read", "both//dev3", false},
			{"a/b", "dev4", "read", "in/a/b/c", true},
			{"a/b", "dev4", "read", "in/a/c", false},
			{"bob", "x/y", "write", "out/x/y/data", true},
			{"b+b", "dev5", "read", "in/b/x", false},
			{"b#", "dev6", "write", "out/dev6/data", false},
			{"bob", "dev+", "read", "in/bob/x", false},
			{"bob", "#", "write", "out/a/data", false},
			{"special+", "dev7", "read", "own/topic", true},
			{"special+", "dev7", "write", "out/dev7/data", false},
			{"%c", "dev8", "read", "in/%c/x", true},
			{"%c", "dev8", "read", "in/dev8/x", false},
		},
	},
	"dollar": {
		"topic readwrite #\n" +
			"user bob\n" +
			"topic read $SYS/#\n" +
			"topic readwrite $x/+\n" +
			"user eve\n" +
			"topic readwrite +/broker/version\n" +
			"topic deny $x/hidden\n" +
			"topic readwrite $x/#\n" +
			"user sys\n" +
			"topic readwrite $SYS/#\n" +
			"pattern readwrite %u/%c/z\n",
		[]aclCase{
			{"", "", "read", "$SYS/broker/version", false},
			{"", "", "read", "$x/y", false},
			{"", "", "write", "$x/y", false},
			{"", "", "write", "a/$x", true},
			{"bob", "", "read", "$SYS/broker/version", true},
			{"bob", "", "write", "$SYS/broker/version", false},
			{"bob", "", "write", "$x/y", true},
			{"bob", "", "read", "$x/y", true},
			{"bob", "", "read", "$x/y/z", false},
			{"bob", "", "read", "x/y", false},
			{"eve", "", "read", "$SYS/broker/version", false},
			{"eve", "", "read", "a/broker/version", true},
			{"eve", "", "write", "$x/hidden", false},
			{"eve", "", "write", "$x/open", true},
			{"sys", "", "write", "$SYS/broker/version", false},
			{"sys", "", "write", "$SYS/broker/connection/b1/state", true},
			{"sys", "", "write", "$SYS/broker/connection/b1/x/state", false},
			{"$x", "y", "write", "$x/y/z", true},
			{"$x", "y", "read", "$x/y/z", true},
		},
	},
	"wildcards": {
		"user bob\n" +
			"topic read +\n" +
			"topic write +/+/c\n" +
			"topic read /#\n" +
			"topic read a/+/#\n" +
			"topic write w/#\n",
		[]aclCase{
			{"bob", "", "read", "x", true},
			{"bob", "", "read", "x/", false},
			{"bob", "", "read", "/", true},
			{"bob", "", "read", "/x/y", true},
			{"bob", "", "read", "a/b", true},
			{"bob", "", "read", "a/", true},
			{"bob", "", "read", "a/b/c/d", true},
			{"bob", "", "write", "x/y/c", true},
			{"bob", "", "write", "//c", true},
			{"bob", "", "write", "x/c", false},
			{"bob", "", "write", "w", true},
			{"bob", "", "write", "w/", true},
			{"bob", "", "write", "ww", false},
		},
	},
	"spaces": {
		"  topic   read   two words  \t\r\n" +
			"topic read  \tfoo\v\n" +
			"topic read\n" +
			"topic deny\n" +
			"\r\n" +
			"   \n" +
			" \t \n" +
			"user   bob smith \n" +
			"topic write a b/+ \n",
		[]aclCase{
			{"", "", "read", "two words", true},
			{"", "", "read", "foo", true},
			{"", "", "write", "read", true},
			{"", "", "read", "read", true},
			{"", "", "write", "deny", true},
			{"bob smith", "", "write", "a b/c d", true},
			{"bob smith", "", "write", "a b", false},
			{"bob smith", "", "read", "a b/c", false},
			{"bob", "", "write", "a b/c", false},
		},
	},
	"empty file": {
		"",
		[]aclCase{
			{"", "", "read", "a", false},
			{"", "", "write", "a", false},
			{"bob", "", "write", "a", false},
		},
	},
}

// aclTexts are ACL files that Mosquitto starts with, or does not.
var aclTexts = map[string]struct {
	text  string
	valid bool
}{
	"nothing":               {"", true},
	"blank lines":           {"\n  \n\t\r\n", true},
	"comment":               {"# topic read\n#topic\n", true},
	"user without topics":   {"user bob\n", true},
	"user twice":            {"user bob\ntopic a\nuser bob\ntopic b\n", true},
	"no newline at the end": {"topic read a", true},
	"carriage returns":      {"topic read a\r\nuser bob\r\ntopic b\r\n", true},
	"leading spaces":        {"   topic read a\n", true},
	"pattern without names": {"pattern read a\n", true},
	"access word alone":     {"topic readwrite\n", true},
	"long line":             {"topic read " + strings.Repeat("x", 5000) + "\n", true},
	"200 levels":            {"topic read " + strings.Repeat("a/", 200) + "\n", true},

	"201 levels":              {"topic read " + strings.Repeat("a/", 201) + "\n", false},
	"indented comment":        {"  # a comment\n", false},
	"unknown word":            {"topics read a\n", false},
	"capital letters":         {"Topic read a\n", false},
	"tab after the word":      {"topic\tread a\n", false},
	"tab before the word":     {"\ttopic read a\n", false},
	"no topic":                {"topic\n", false},
	"no topic, but spaces":    {"topic   \n", false},
	"no name":                 {"user\n", false},
	"no name, but spaces":     {"user   \n", false},
	"unknown access":          {"topic writeread a\n", false},
	"two words as topic":      {"topic two words\n", false},
	"plus in a level":         {"topic read a/b+\n", false},
	"plus before a pattern":   {"pattern read a/+%u\n", false},
	"hash in the middle":      {"topic read a/#/b\n", false},
	"hash in a level":         {"topic read a#\n", false},
	"topic that is too long":  {"topic read " + strings.Repeat("x", 65536) + "\n", false},
	"wrong line after others": {"topic read a\nuser bob\ntopic b\nacl c\n", false},
}
