// Command gen writes what is made of the API's operations: the OpenAPI document
// and its reference for people.
//
//	go run ./handlers/api/gen
package main

import (
	"fmt"
	"os"

	"kubevirt-shepherd.io/shepherd/handlers/api"
)

func main() {
	a := api.New(api.Config{})
	text, err := a.JSON()
	if err == nil {
		err = os.WriteFile("docs/openapi.json", text, 0o644)
	}
	if err == nil {
		err = os.WriteFile("docs/api-reference.md", a.Reference(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
