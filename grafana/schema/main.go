// Hold dashboards to Grafana's schema, by the types that Grafana generates of it: no field that it does not know, none
// missing that it wants, each value of its type.
//
//	go run . DASHBOARD.json...
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// check returns what is wrong with a dashboard, a line a fault.
func check(raw []byte) string {
	var it dashboard.Dashboard
	// An error without words is a list of none.
	if err := it.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		return err.Error()
	}
	if err := it.Validate(); err != nil {
		return err.Error()
	}
	return ""
}

func main() {
	plugins.RegisterDefaultPlugins() // the options of each kind of panel, and the queries of each kind of source
	code := 0
	for _, path := range os.Args[1:] {
		raw, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		if faults := check(raw); faults != "" {
			fmt.Printf("%s:\n%s\n", path, faults)
			code = 1
		}
	}
	os.Exit(code)
}
