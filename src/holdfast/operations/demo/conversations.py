"""What people write: forms and the answers to them, requests for images and the words with which they are decided."""

import msgspec


class Topic(msgspec.Struct, frozen=True):
    """A form as it may go: what is asked, what staff answer, what is said then, and how it ends."""

    title: str
    tag: str
    message: str
    answer: str
    reply: str
    outcome: str = "Completed"


TOPICS = (
    Topic(
        "Notebook startet nicht mehr",
        "notebook",
        "Seit heute Morgen bleibt mein Notebook auf „Pending“. Gestern ging es noch.",
        "Das Volume war voll. Ich habe es vergrößert, bitte einmal neu starten.",
        "Läuft wieder, vielen Dank!",
    ),
    Topic(
        "Out of memory in exercise 4",
        "memory",
        "The kernel dies when I load the full data set. Is 4 GiB really all we get?",
        "For exercise 4 please use the chunked loader from the lecture; 4 GiB are enough then.",
        "Understood, it works with chunks of 10,000 rows.",
    ),
    Topic(
        "More GPUs for our challenge team",
        "quota",
        "We would like to train with 4 GPUs until the deadline on Friday.",
        "Friday is crowded. You can have two more from Wednesday to Thursday night.",
        "That is fine for us, thank you.",
    ),
    Topic(
        "Zweite Anmeldung für einen Tutor",
        "account",
        "Unser neuer Tutor braucht Zugriff auf die Übungen.",
        "Er steht jetzt in der Gruppe, Rolle Manager.",
        "Danke, er kann die Abgaben sehen.",
    ),
    Topic(
        "Dataset missing on the shared volume",
        "storage",
        "The folder /data/valid is empty for our team, /data/train is there.",
        "The copy was still running. It is complete now, 48,000 files.",
        "I can see all of them.",
    ),
    Topic(
        "Accès au cluster pendant les vacances",
        "account",
        "Est-ce que nos comptes restent actifs pendant les vacances de Noël ?",
        "Oui, mais les travaux de plus de 24 heures sont arrêtés.",
        "Parfait, merci.",
    ),
    Topic(
        "Permitir acceso a internet desde el pod",
        "network",
        "Necesitamos descargar un modelo de 12 GB desde fuera.",
        "El acceso directo no está permitido; lo hemos copiado al volumen del grupo.",
        "Ya lo encuentro, gracias.",
        "Rejected",
    ),
    Topic(
        "Root in the container, please",
        "security",
        "I need sudo to install a package with apt.",
        "Containers run without root here. Ask for an image that has the package: holdfast image-requests create.",
        "I have asked for one.",
        "Rejected",
    ),
    Topic(
        "Job wurde nachts beendet",
        "jobs",
        "Mein Training ist um 3 Uhr ohne Fehlermeldung verschwunden.",
        "Die Wartung war angekündigt. Mit Checkpoints geht es an derselben Stelle weiter.",
        "Checkpoints sind eingebaut.",
    ),
    Topic(
        "Certificate warning in the browser",
        "network",
        "Firefox warns me when I open our inference page.",
        "The certificate was renewed this morning, the warning should be gone.",
        "Confirmed, no warning any more.",
    ),
    Topic(
        "Price of a GPU hour",
        "quota",
        "Could we see how many GPU hours our project has used?",
        "The project page shows what is in use; a monthly sum is planned.",
        "Good to know.",
    ),
    Topic(
        "Abgabe zu spät hochgeladen",
        "course",
        "Durch den Ausfall am Montag konnte ich erst um 0:10 Uhr abgeben.",
        "Alle Abgaben bis 2 Uhr zählen, keine Sorge.",
        "Puh. Danke!",
    ),
)

# Allowed for everyone from the first day.
COMMON_IMAGES = (
    "quay.io/jupyter/scipy-notebook",
    "docker.io/pytorch/pytorch:2.9.0",
    "docker.io/pytorch/pytorch:2.9.1",
    "python:3.13-slim",
    "nginx:1.29",
    "postgres:17",
    "docker.io/openfoam/openfoam11-paraview510:11",
)
WANTED_IMAGES = (
    "tensorflow/tensorflow:2.20.0-gpu",
    "nvcr.io/nvidia/pytorch:26.09-py3",
    "nvcr.io/nvidia/tritonserver:26.08-py3",
    "ghcr.io/huggingface/text-generation-inference:3.4",
    "rocker/ml-verse:4.5.1",
    "julia:1.12",
    "continuumio/miniconda3:25.9",
    "ghcr.io/example-faculty/inference:1.0",
    "ghcr.io/example-faculty/inference:1.1",
    "biocontainers/blast:2.16",
    "quay.io/biocontainers/samtools:1.21",
    "rootproject/root:6.36.04-ubuntu24.04",
    "osrf/ros:jazzy-desktop",
    "redis:8.2",
    "mongo:8.0",
    "rabbitmq:4.1",
    "gcc:15",
    "rust:1.90",
    "golang:1.25",
    "projectmonai/monai:1.5",
    "dolfinx/dolfinx:v0.10.0",
    "busybox:1.37",
    "ubuntu:14.04",
    "kalilinux/kali-rolling:latest",
)
# These are turned down wherever they are asked for.
UNWANTED_IMAGES = {
    "ubuntu:14.04": "Has had no security updates for years; please ask for 24.04.",
    "kalilinux/kali-rolling:latest": "Not on this cluster. The security lab has machines of its own.",
    "mongo:8.0": "The course runs on PostgreSQL; please talk to your assistant first.",
}
APPROVALS = (
    "Scanned, nothing found.",
    "Fine, official image.",
    "Gesehen und freigegeben.",
    "Allowed for this term.",
    "OK, but please pin the digest next time.",
)

WORKLOADS = (
    "train-resnet",
    "train-transformer",
    "finetune",
    "hyperparameters",
    "evaluate",
    "preprocess",
    "baseline",
    "ablation",
    "simulation",
    "segmentation",
    "tokenise",
    "final-run",
)
