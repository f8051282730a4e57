package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

// kubectlMain is the real kubectl, so that what the portal shows can be held
// against what the cluster says without installing anything.
func kubectlMain() {
	os.Args[0] = "kubectl"
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
