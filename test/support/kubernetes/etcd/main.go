// An etcd for tests, made of etcd's own library for embedding. It takes the few flags of an etcd that the tests give.
package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	config := embed.NewConfig()
	config.LogLevel = "error"
	flags := pflag.NewFlagSet("etcd", pflag.ExitOnError)
	flags.StringVar(&config.Dir, "data-dir", "", "")
	flags.StringVar(&config.InitialCluster, "initial-cluster", "", "")
	for name, urls := range map[string]*[]url.URL{
		"listen-client-urls":          &config.ListenClientUrls,
		"advertise-client-urls":       &config.AdvertiseClientUrls,
		"listen-peer-urls":            &config.ListenPeerUrls,
		"initial-advertise-peer-urls": &config.AdvertisePeerUrls,
	} {
		flags.Func(name, "", func(text string) error {
			parsed, err := url.Parse(text)
			if err == nil {
				*urls = []url.URL{*parsed}
			}
			return err
		})
	}
	_ = flags.Parse(os.Args[1:])
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	etcd.Close()
}
