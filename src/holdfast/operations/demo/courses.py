"""The courses of the faculty and their projects."""

import msgspec


class PlannedProject(msgspec.Struct, frozen=True):
    """A project of a course; `manifests` names the sets of files that its staff apply."""

    project_name: str
    gpu_quota: int
    description: str
    manifests: tuple[str, ...] = ()


class Course(msgspec.Struct, frozen=True):
    """A course: its group, how many study in it, and its projects."""

    group_name: str
    description: str
    students: int
    assistants: int
    projects: tuple[PlannedProject, ...]


def _exercises(name: str, gpus: int, *manifests: str) -> PlannedProject:
    return PlannedProject(name, gpus, "Weekly exercises of the whole course", ("notebooks", *manifests))


def _teams(word: str, count: int, gpus: int, *manifests: str) -> tuple[PlannedProject, ...]:
    return tuple(
        PlannedProject(f"{word} {number}", gpus, "One team of students", ("training", *manifests))
        for number in range(1, count + 1)
    )


COURSES = (
    Course(
        "Maschinelles Lernen",
        "Vorlesung und Übung, 9 LP, Wintersemester",
        210,
        5,
        (_exercises("Übungen", 12, "datasets"), *_teams("Projektgruppe", 6, 2)),
    ),
    Course(
        "Deep Learning for Computer Vision",
        "Lecture and lab, 6 ECTS",
        180,
        4,
        (_exercises("Lab", 16, "datasets", "inference"), *_teams("Challenge team", 6, 4, "inference")),
    ),
    Course(
        "Computerlinguistik",
        "Seminar mit Programmierprojekt",
        110,
        3,
        (_exercises("Seminar", 4), *_teams("Sprachmodell-Team", 4, 2, "inference")),
    ),
    Course(
        "Numerische Strömungsmechanik",
        "Praktikum am Rechencluster",
        85,
        2,
        (_exercises("Praktikum", 4, "solver"), *_teams("Simulation", 3, 2, "solver")),
    ),
    Course(
        "Bioinformatics: Sequence Analysis",
        "Lecture with tutorials",
        125,
        3,
        (_exercises("Tutorials", 2, "database"), *_teams("Genome group", 3, 1, "nightly")),
    ),
    Course(
        "Introduction à l'apprentissage statistique",
        "Cours et travaux dirigés, échange franco-allemand",
        95,
        2,
        (_exercises("Travaux dirigés", 4), *_teams("Équipe", 3, 1)),
    ),
    Course(
        "Teilchenphysik am Rechner",
        "Auswertung offener Messdaten",
        70,
        2,
        (_exercises("Auswertung", 2, "nightly"), *_teams("Analyse", 3, 1, "datasets")),
    ),
    Course(
        "Robotics Lab",
        "Simulation, control and learning for mobile robots",
        105,
        3,
        (_exercises("Simulator", 8, "inference"), *_teams("Robot", 5, 2)),
    ),
    Course(
        "Medical Image Computing",
        "Segmentation and registration, with the university hospital",
        90,
        3,
        (_exercises("Exercises", 6, "datasets"), *_teams("Segmentation", 3, 4, "inference")),
    ),
    Course(
        "Verteilte Systeme",
        "Vorlesung, Übung und Abschlussprojekt ohne GPU",
        230,
        4,
        (_exercises("Übungen", 0, "database"), *_teams("Abschlussprojekt", 5, 0, "web")),
    ),
    Course(
        "Climate Modelling",
        "Block course with observational data",
        60,
        2,
        (_exercises("Block course", 4, "solver", "nightly"), *_teams("Scenario", 2, 2, "datasets")),
    ),
    Course(
        "Procesamiento del lenguaje natural",
        "Asignatura optativa, intercambio con Valencia",
        80,
        2,
        (_exercises("Prácticas", 4), *_teams("Equipo", 3, 2, "inference")),
    ),
)

OPERATORS_GROUP = ("Rechenzentrum", "Who runs the cluster and decides on images and quotas")
