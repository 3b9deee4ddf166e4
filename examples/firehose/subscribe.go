//go:build ignore

// Prints every message of a bus.
//
//	go run subscribe.go mqtts://bus.example.org:8883
package main

import (
	"fmt"
	"log"
	"os"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	options := mqtt.NewClientOptions().AddBroker(os.Args[1])
	options.SetOnConnectHandler(func(client mqtt.Client) { // here, so that it is done after each reconnect too
		client.Subscribe("#", 0, func(_ mqtt.Client, m mqtt.Message) {
			fmt.Println(m.Topic(), string(m.Payload()))
		})
	})
	client := mqtt.NewClient(options)
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	select {}
}
