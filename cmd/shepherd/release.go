//go:build !dev

package main

// developer are the commands of a development build: none here.
var developer []command
