// A producer and a consumer that speak the form of Buffalo's AMQP adapter, over RabbitMQ's own client.
//
//	amqp produce URL QUEUE        publishes each line of the input as a job's arguments, and waits for the confirms
//	amqp consume URL QUEUE COUNT  prints the arguments of so many jobs, a line each, and acknowledges them
//	amqp delay URL QUEUE SECONDS  publishes the input's one line for later, as the adapter does: a thousand times too early
//	amqp fail URL QUEUE COUNT     runs so many jobs whose handler returns an error: the adapter tells the server nothing
//	amqp wait URL QUEUE           has a consumer until the input ends, and takes no job
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	connection, err := amqp.Dial(os.Args[2])
	check(err)
	defer connection.Close()
	channel, err := connection.Channel()
	check(err)
	// As the adapter declares it when a handler is registered: durable, and no arguments.
	_, err = channel.QueueDeclare(os.Args[3], true, false, false, false, nil)
	check(err)
	switch os.Args[1] {
	case "produce":
		produce(channel, os.Args[3])
	case "consume":
		count, err := strconv.Atoi(os.Args[4])
		check(err)
		consume(channel, os.Args[3], count)
	case "delay":
		seconds, err := strconv.ParseInt(os.Args[4], 10, 64)
		check(err)
		delay(channel, os.Args[3], seconds)
	case "fail":
		count, err := strconv.Atoi(os.Args[4])
		check(err)
		for deliveries := deliveries(channel, os.Args[3]); count > 0; count-- {
			delivery := <-deliveries
			fmt.Printf("%t\t%s\n", delivery.Redelivered, delivery.Body)
		}
	case "wait":
		check(channel.Qos(1, 0, false))
		deliveries(channel, os.Args[3])
		fmt.Println("waits")
		io.Copy(io.Discard, os.Stdin)
	}
}

func produce(channel *amqp.Channel, queue string) {
	check(channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	var waiting []*amqp.DeferredConfirmation
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<21)
	for input.Scan() {
		var args map[string]interface{}
		check(json.Unmarshal(input.Bytes(), &args))
		body, err := json.Marshal(args)
		check(err)
		confirmation, err := channel.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
			ContentType:  "application/json",
			DeliveryMode: amqp.Persistent,
			Body:         body,
		})
		check(err)
		waiting = append(waiting, confirmation)
	}
	check(input.Err())
	for _, confirmation := range waiting {
		if !confirmation.Wait() {
			panic("the server refused a job")
		}
	}
	select {
	case lost := <-returned:
		panic("the server found no queue: " + lost.ReplyText)
	default:
	}
}

func delay(channel *amqp.Channel, queue string, seconds int64) {
	body, err := io.ReadAll(os.Stdin)
	check(err)
	later := fmt.Sprintf("%s_delayed_%d", queue, seconds)
	_, err = channel.QueueDeclare(later, true, true, false, false, amqp.Table{
		"x-message-ttl":             seconds,
		"x-dead-letter-exchange":    "",
		"x-dead-letter-routing-key": queue,
	})
	check(err)
	check(channel.Confirm(false))
	confirmation, err := channel.PublishWithDeferredConfirm("", later, true, false, amqp.Publishing{
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		Body:         body,
	})
	check(err)
	confirmation.Wait()
}

func deliveries(channel *amqp.Channel, queue string) <-chan amqp.Delivery {
	found, err := channel.Consume(queue, "buffalo_"+queue+"_1", false, false, false, false, nil)
	check(err)
	return found
}

func consume(channel *amqp.Channel, queue string, count int) {
	deliveries := deliveries(channel, queue)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	for ; count > 0; count-- {
		delivery := <-deliveries
		var args map[string]interface{}
		check(json.Unmarshal(delivery.Body, &args))
		again, err := json.Marshal(args)
		check(err)
		fmt.Fprintf(output, "%s\t%s\n", delivery.MessageId, again)
		check(delivery.Ack(false))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
