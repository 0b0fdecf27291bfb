// Renders a Helm chart without a cluster: `render CHART [VALUES.yaml ...]` prints its manifests, as `helm template` would.
// Values are checked against the chart's schema.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

func main() {
	if err := render(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: render CHART [VALUES.yaml ...]")
	}
	chart, err := loader.Load(args[0])
	if err != nil {
		return err
	}
	values := chartutil.Values{}
	for _, file := range args[1:] {
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return err
		}
		values = chartutil.CoalesceTables(more, values)
	}
	release := chartutil.ReleaseOptions{Name: "rspp", Namespace: "rspp"}
	merged, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, merged)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text := strings.TrimSpace(files[name])
		if text == "" || strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		if !strings.HasPrefix(text, "---") {
			text = "---\n" + text
		}
		fmt.Println(text)
	}
	return nil
}
