// Command stale lists the sections of the guides whose translation is missing
// or older than the English. It fails when there are any.
package main

import (
	"fmt"
	"os"

	"kubevirt-shepherd.io/shepherd/docs"
)

func main() {
	list := docs.Stale("zh-CN")
	for _, line := range list {
		fmt.Println(line)
	}
	if len(list) > 0 {
		os.Exit(1)
	}
	fmt.Println("translated guides: fresh")
}
