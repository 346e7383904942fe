package main

import (
	"fmt"

	"example.org/quote"
)

func main() { fmt.Println(quote.Hello()) }
