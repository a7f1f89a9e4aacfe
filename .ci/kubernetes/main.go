// Command kubernetes checks the manifests on its standard input: each object is decoded as the API
// server does, where a name that it doesn't know, or a value of another type, is an error; and what
// concerns each other must agree.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := check(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

func check(r io.Reader) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apps.AddToScheme, core.AddToScheme, policy.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var (
		deployment *apps.Deployment
		service    *core.Service
		budget     *policy.PodDisruptionBudget
	)
	for documents := yaml.NewYAMLReader(bufio.NewReader(r)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		object, kind, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return err
		}
		switch o := object.(type) {
		case *apps.Deployment:
			deployment = o
		case *core.Service:
			service = o
		case *policy.PodDisruptionBudget:
			budget = o
		default:
			return fmt.Errorf("no rule for a %s", kind)
		}
	}
	if deployment == nil || service == nil || budget == nil {
		return errors.New("it takes a Deployment, a Service and a PodDisruptionBudget")
	}
	return agree(deployment, service, budget)
}

// agree checks that service and budget are about the pods of the deployment, and that these have the
// time and the ports that are spoken of.
func agree(d *apps.Deployment, s *core.Service, b *policy.PodDisruptionBudget) error {
	pod := d.Spec.Template
	for who, selector := range map[string]map[string]string{
		"Deployment": d.Spec.Selector.MatchLabels, "Service": s.Spec.Selector, "PodDisruptionBudget": b.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			return fmt.Errorf("the %s selects %v, the pods are %v", who, selector, pod.Labels)
		}
	}
	if b.Spec.MaxUnavailable == nil || int32(b.Spec.MaxUnavailable.IntValue()) >= *d.Spec.Replicas {
		return errors.New("the PodDisruptionBudget lets all pods end at once")
	}
	c := pod.Spec.Containers[0]
	ports := map[intstr.IntOrString]bool{}
	for _, p := range c.Ports {
		ports[intstr.FromString(p.Name)] = true
	}
	for _, p := range s.Spec.Ports {
		if !ports[p.TargetPort] {
			return fmt.Errorf("the Service's port %s is none of the container's", &p.TargetPort)
		}
	}
	for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || !ports[probe.HTTPGet.Port] {
			return fmt.Errorf("no probe of %s", path)
		}
	}
	// Behind preStop come --drain, 10 s for the last writes, and 5 s for other requests.
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
		return errors.New("no preStop")
	}
	if grace := pod.Spec.TerminationGracePeriodSeconds; grace == nil || *grace < c.Lifecycle.PreStop.Sleep.Seconds+10+10+5 {
		return errors.New("terminationGracePeriodSeconds is too short to drain")
	}
	mounted := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		mounted[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !mounted[m.Name] {
			return fmt.Errorf("no volume %s", m.Name)
		}
	}
	return nil
}
