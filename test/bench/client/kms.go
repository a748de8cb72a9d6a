package main

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kms "k8s.io/kms/apis/v2"
)

// The KMS socket, with as many connections as the last measurement used; kube-apiserver has one.
type kmsSocket struct {
	path        string
	connections []*grpc.ClientConn
}

// With the options of kube-apiserver's own client: nothing but authority, dialer and waiting for a usable connection.
func (socket *kmsSocket) open(dial func(context.Context) (net.Conn, error)) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+socket.path,
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }))
}

func (socket *kmsSocket) dialOnce(context.Context) (net.Conn, error) {
	return net.Dial("unix", socket.path)
}

// Looks every millisecond for a socket that is not there yet. The library pauses longer after each failure, which would be measured too.
func (socket *kmsSocket) dialPatiently(ctx context.Context) (net.Conn, error) {
	for {
		connection, err := net.Dial("unix", socket.path)
		if err == nil {
			return connection, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// Opens and closes connections until there are that many.
func (socket *kmsSocket) use(count int) ([]kms.KeyManagementServiceClient, error) {
	for len(socket.connections) > count {
		last := len(socket.connections) - 1
		_ = socket.connections[last].Close()
		socket.connections = socket.connections[:last]
	}
	for len(socket.connections) < count {
		connection, err := socket.open(socket.dialOnce)
		if err != nil {
			return nil, err
		}
		socket.connections = append(socket.connections, connection)
	}
	clients := make([]kms.KeyManagementServiceClient, count)
	for index, connection := range socket.connections {
		clients[index] = kms.NewKeyManagementServiceClient(connection)
	}
	return clients, nil
}

// Waits for an answered Status, or with wanted "ok" for a good one, over a connection of its own.
func (socket *kmsSocket) first(wanted string, stop <-chan struct{}) error {
	connection, err := socket.open(socket.dialPatiently)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := kms.NewKeyManagementServiceClient(connection)
	for {
		select {
		case <-stop:
			return errors.New("stopped before an answer")
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		status, err := client.Status(ctx, &kms.StatusRequest{})
		cancel()
		if err == nil && (wanted != "ok" || status.Healthz == "ok") {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}
