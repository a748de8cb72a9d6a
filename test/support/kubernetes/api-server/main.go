// An API server for tests, made of the API server's own library: Secrets over HTTPS, stored in an etcd through the library's
// storage, its encryption at rest, its hot reload, its watch cache and its health endpoints. It is no kube-apiserver: nothing is
// authenticated, and there is no resource but Secrets. It takes the flags of a kube-apiserver that concern these parts.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/component-base/compatibility"
	"k8s.io/component-base/version"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

var (
	scheme   = runtime.NewScheme()
	codecs   = serializer.NewCodecFactory(scheme)
	internal = schema.GroupVersion{Version: runtime.APIVersionInternal}
)

func init() {
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	for _, groupVersion := range []schema.GroupVersion{corev1.SchemeGroupVersion, internal} {
		scheme.AddKnownTypes(groupVersion, &corev1.Secret{}, &corev1.SecretList{})
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	codec := codecs.CodecForVersions(protobuf.NewSerializer(scheme, scheme), codecs.UniversalDeserializer(), corev1.SchemeGroupVersion, internal)
	etcd := options.NewEtcdOptions(storagebackend.NewDefaultConfig("/registry", codec))
	serving := options.NewSecureServingOptions().WithLoopback()
	flags := pflag.NewFlagSet("api-server", pflag.ContinueOnError)
	etcd.AddFlags(flags)
	serving.AddFlags(flags)
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	config := server.NewConfig(codecs)
	config.EffectiveVersion = compatibility.NewEffectiveVersionFromString(version.DefaultKubeBinaryVersion, "", "")
	config.SkipOpenAPIInstallation = true
	config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(definitions, openapi.NewDefinitionNamer(scheme))
	if err := serving.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return err
	}
	if err := etcd.ApplyTo(config); err != nil {
		return err
	}
	apiServer, err := config.Complete(nil).New("api-server", server.NewEmptyDelegate())
	if err != nil {
		return err
	}
	secrets, err := newSecrets(config.RESTOptionsGetter)
	if err != nil {
		return err
	}
	group := server.NewDefaultAPIGroupInfo("", scheme, runtime.NewParameterCodec(scheme), codecs)
	group.VersionedResourcesStorageMap["v1"] = map[string]rest.Storage{"secrets": secrets}
	if err := apiServer.InstallLegacyAPIGroup("/api", &group); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return apiServer.PrepareRun().RunWithContext(ctx)
}

// definitions are as loose as they can be: what is sent is stored.
func definitions(openapicommon.ReferenceCallback) map[string]openapicommon.OpenAPIDefinition {
	object := openapicommon.OpenAPIDefinition{Schema: spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}}
	return map[string]openapicommon.OpenAPIDefinition{
		corev1.Secret{}.OpenAPIModelName():     object,
		corev1.SecretList{}.OpenAPIModelName(): object,
	}
}

type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

func (strategy) NamespaceScoped() bool                                                 { return true }
func (strategy) PrepareForCreate(context.Context, runtime.Object)                      {}
func (strategy) Validate(context.Context, runtime.Object) field.ErrorList              { return nil }
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string             { return nil }
func (strategy) Canonicalize(runtime.Object)                                           {}
func (strategy) AllowCreateOnUpdate(context.Context) bool                              { return false }
func (strategy) AllowUnconditionalUpdate(context.Context) bool                         { return true }
func (strategy) PrepareForUpdate(_ context.Context, _, _ runtime.Object)               {}
func (strategy) ValidateUpdate(_ context.Context, _, _ runtime.Object) field.ErrorList { return nil }
func (strategy) WarningsOnUpdate(_ context.Context, _, _ runtime.Object) []string      { return nil }

func newSecrets(getter generic.RESTOptionsGetter) (*registry.Store, error) {
	one := strategy{scheme, names.SimpleNameGenerator}
	resource := schema.GroupResource{Resource: "secrets"}
	store := &registry.Store{
		NewFunc:                   func() runtime.Object { return &corev1.Secret{} },
		NewListFunc:               func() runtime.Object { return &corev1.SecretList{} },
		PredicateFunc:             match,
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Resource: "secret"},
		CreateStrategy:            one,
		UpdateStrategy:            one,
		DeleteStrategy:            one,
		TableConvertor:            rest.NewDefaultTableConvertor(resource),
	}
	return store, store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attributes})
}

func attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	secret := object.(*corev1.Secret)
	return secret.Labels, generic.ObjectMetaFieldsSet(&secret.ObjectMeta, true), nil
}

func match(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attributes}
}
