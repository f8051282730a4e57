// Command gen prints the OpenAPI document, for docs/openapi.json.
package main

import (
	"fmt"
	"os"

	"kubevirt-shepherd.io/shepherd/handlers/api"
)

func main() {
	text, err := api.New(api.Config{}).JSON()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
