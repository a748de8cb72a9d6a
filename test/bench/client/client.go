package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	kms "k8s.io/kms/apis/v2"
)

type client struct {
	kms     *kmsSocket
	transit *transit
	sealed  []sealed
	raw     []rawSealed
	aad     []byte
	next    atomic.Uint64
}

type sealed struct {
	request   *kms.DecryptRequest
	plaintext []byte
}

type rawSealed struct {
	ciphertext string
	plaintext  []byte
}

// Plaintext of an Encrypt of kube-apiserver.
const seedBytes = 32

// As long as the associated data of the provider.
const aadBytes = 527

const uid = "00000000-0000-4000-8000-000000000000"

func random(size int) []byte {
	made := make([]byte, size)
	_, _ = rand.Read(made)
	return made
}

// Seals that many more seeds both ways. They are all different: the provider answers equal Decrypts that meet with one call.
func (client *client) prepare(count int) error {
	clients, err := client.kms.use(1)
	if err != nil {
		return err
	}
	if client.aad == nil {
		client.aad = random(aadBytes)
	}
	for range count {
		if err := client.seal(clients[0]); err != nil {
			return err
		}
	}
	return nil
}

func (client *client) seal(provider kms.KeyManagementServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	plaintext := random(seedBytes)
	answer, err := provider.Encrypt(ctx, &kms.EncryptRequest{Plaintext: plaintext, Uid: uid})
	if err != nil {
		return fmt.Errorf("Encrypt: %w", err)
	}
	request := &kms.DecryptRequest{Ciphertext: answer.Ciphertext, Uid: uid, KeyId: answer.KeyId, Annotations: answer.Annotations}
	ciphertext, err := client.transit.encrypt(ctx, plaintext, client.aad)
	if err != nil {
		return err
	}
	client.sealed = append(client.sealed, sealed{request, plaintext})
	client.raw = append(client.raw, rawSealed{ciphertext, plaintext})
	return nil
}

var errOtherPlaintext = errors.New("another plaintext was answered")

// The call of a target: each worker names itself, so that every connection has its share.
func (client *client) callOf(plan plan) (func(context.Context, int) error, error) {
	clients, err := client.kms.use(max(plan.Connections, 1))
	if err != nil {
		return nil, err
	}
	of := func(worker int) kms.KeyManagementServiceClient { return clients[worker%len(clients)] }
	turn := func(count int) int { return int(client.next.Add(1) % uint64(count)) }
	if (plan.Target == "decrypt" || plan.Target == "raw-decrypt") && len(client.sealed) == 0 {
		return nil, errors.New("nothing is prepared")
	}
	calls := map[string]func(context.Context, int) error{
		"status": func(ctx context.Context, worker int) error {
			answer, err := of(worker).Status(ctx, &kms.StatusRequest{})
			if err == nil && answer.Healthz != "ok" {
				return fmt.Errorf("Status is %s", answer.Healthz)
			}
			return err
		},
		"encrypt": func(ctx context.Context, worker int) error {
			_, err := of(worker).Encrypt(ctx, &kms.EncryptRequest{Plaintext: random(seedBytes), Uid: uid})
			return err
		},
		"decrypt": func(ctx context.Context, worker int) error {
			asked := client.sealed[turn(len(client.sealed))]
			answer, err := of(worker).Decrypt(ctx, asked.request)
			return different(err, answer.GetPlaintext(), asked.plaintext)
		},
		"raw-encrypt": func(ctx context.Context, _ int) error {
			_, err := client.transit.encrypt(ctx, random(seedBytes), client.aad)
			return err
		},
		"raw-decrypt": func(ctx context.Context, _ int) error {
			asked := client.raw[turn(len(client.raw))]
			plaintext, err := client.transit.decrypt(ctx, asked.ciphertext, client.aad)
			return different(err, plaintext, asked.plaintext)
		},
	}
	call, isKnown := calls[plan.Target]
	if !isKnown {
		return nil, fmt.Errorf("unknown target %q", plan.Target)
	}
	return call, nil
}

func different(err error, answered, wanted []byte) error {
	if err == nil && !bytes.Equal(answered, wanted) {
		return errOtherPlaintext
	}
	return err
}
