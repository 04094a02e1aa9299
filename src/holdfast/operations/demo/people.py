"""The people of the faculty: names from all over the world, each with a user name and an address."""

# ruff: noqa: RUF001 - Turkish has an i without a dot, and it belongs into its names.

import random
import re
import unicodedata
from collections.abc import Iterator

import msgspec

_DOMAIN = "students.example.edu"
_STAFF_DOMAIN = "example.edu"

# Given names and family names of one part of the world belong together.
_NAMES: tuple[tuple[str, str], ...] = (
    (
        "Anna Lena Marie Sophie Clara Johanna Katharina Lukas Jonas Felix Maximilian Paul Moritz Jürgen Björn Käthe",
        "Müller Schmidt Schneider Fischer Weber Becker Hoffmann Schäfer Koch Bauer Richter Krüger Vogel Jäger Groß",
    ),
    (
        "Olivia Amelia Emily Grace Charlotte Harry Oliver George Jack Thomas Eleanor Callum Rhys Siobhán Aoife Liam",
        "Smith Taylor Brown Wilson Evans Walker Wright Hughes Murphy O'Brien Campbell MacLeod Byrne Clarke Turner",
    ),
    (
        "Camille Chloé Léa Manon Inès Zoé Hugo Théo Louis Étienne François Aurélie Noémie Baptiste Mathis Océane",
        "Martin Bernard Dubois Moreau Laurent Lefèvre Girard Rousseau Mercier Lambert Faure Chevalier Gauthier Renault",
    ),
    (
        "Lucía Sofía María Valentina Camila Mateo Santiago Diego Álvaro Javier Begoña Iñaki Ximena Andrés Joaquín",
        "García Rodríguez González Fernández López Martínez Pérez Gómez Díaz Muñoz Álvarez Romero Ibáñez Quispe Peña",
    ),
    (
        "Giulia Chiara Francesca Martina Alessia Lorenzo Matteo Alessandro Niccolò Tommaso Beatrice Elisa Davide",
        "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Conti De\u00a0Luca Mancini Costa",
    ),
    (
        "Beatriz João Inês Gonçalo Mariana Tiago Leonor Rafael Luísa Thiago Larissa Caio Letícia Vinícius Fernanda",
        "Silva Santos Ferreira Pereira Oliveira Costa Rodrigues Martins Sousa Gonçalves Araújo Ribeiro Carvalho",
    ),
    (
        "Zofia Hanna Julia Maja Wojciech Jakub Szymon Łukasz Małgorzata Paweł Agnieszka Tomáš Jiří Eliška Veronika",
        "Nowak Kowalski Wiśniewski Wójcik Zieliński Dąbrowski Novák Svoboda Dvořák Černý Horváth Kovács Szabó",
    ),
    (
        "Ingrid Astrid Freja Sigrid Linnea Lars Nils Søren Bjørn Åsa Øyvind Eero Aino Väinö Guðrún Magnus",
        "Andersson Johansson Nilsson Hansen Jensen Larsen Sørensen Berg Lindström Jónsdóttir Korhonen Virtanen Mäkinen",
    ),
    (
        "Elif Zeynep Ayşe Emre Mehmet Çağla Barış Ömer Şeyma Deniz Yiğit İrem Oğuz Gülşen Burak Tuğba",
        "Yılmaz Kaya Demir Şahin Çelik Yıldız Öztürk Aydın Arslan Doğan Kılıç Aslan Koç Özdemir",
    ),
    (
        "Fatima Aisha Layla Mariam Omar Youssef Ahmed Khalid Noor Hassan Zainab Tariq Salma Karim Samira Bilal",
        "Al-Masri Haddad Khoury Nasser Rahman El-Sayed Mansour Aziz Farouk Bennani Saleh Hamdan Alaoui Qureshi",
    ),
    (
        "Priya Ananya Aarav Rohan Kavya Ishaan Meera Arjun Lakshmi Vikram Nandini Sanjay Divya Karthik Aditi Rahul",
        "Sharma Patel Singh Kumar Gupta Iyer Reddy Nair Banerjee Chatterjee Desai Joshi Menon Rao Krishnan Das",
    ),
    (
        "Wei Xin Yuxuan Haoran Jing Mei Lihua Zihan Yichen Chen Minghui Ruolin Siyu Tianyi Xiaoming Jiayi",
        "Wang Li Zhang Liu Chen Yang Zhao Huang Zhou Wu Xu Sun Ma Zhu Hu Guo He Lin",
    ),
    (
        "Haruto Yui Sakura Ren Aoi Sota Hina Yuto Mio Kaito Jihoon Minji Seojun Hayoon Jiwoo Dohyun",
        "Sato Suzuki Takahashi Tanaka Watanabe Ito Yamamoto Nakamura Kobayashi Kim Park Choi Jung Kang Yoon",
    ),
    (
        "Linh Minh Thảo Đức Hương Anh Tuấn Somchai Malee Putri Budi Dewi Rizky Siti Maria Jose",
        "Nguyễn Trần Lê Phạm Hoàng Vũ Đặng Suwan Chaiyasit Santoso Wijaya Hidayat Reyes Cruz Bautista",
    ),
    (
        "Amara Chidi Ngozi Kwame Ama Kofi Wanjiru Otieno Achieng Thabo Naledi Sipho Zanele Abebe Selam Fatou",
        "Okafor Adeyemi Eze Mensah Boateng Asante Kamau Mwangi Odhiambo Dlamini Nkosi Mokoena Tesfaye Diallo Traoré",
    ),
    (
        "Olena Oksana Dmytro Andrii Iryna Bohdan Natalia Mikhail Ekaterina Ivan Svetlana Nikola Milica Ana Luka",
        "Shevchenko Kovalenko Bondarenko Melnyk Ivanov Petrova Sokolov Petrović Jovanović Horvat Kovačević Dimitrov",
    ),
)
# Some write their names in the letters they learnt first; their user names stay in Latin ones.
_NATIVE: tuple[tuple[str, str], ...] = (
    ("王小明", "wang-xiaoming"),
    ("李思雨", "li-siyu"),
    ("陳怡君", "chen-yijun"),
    ("佐藤陽菜", "sato-hina"),
    ("高橋蓮", "takahashi-ren"),
    ("김민지", "kim-minji"),
    ("박서준", "park-seojun"),
    ("Ελένη Παπαδοπούλου", "papadopoulou-eleni"),
    ("Γιώργος Νικολάου", "nikolaou-giorgos"),
    ("Олена Шевченко", "shevchenko-olena"),
    ("Дмитро Бондаренко", "bondarenko-dmytro"),
    ("Екатерина Соколова", "sokolova-ekaterina"),
    ("فاطمة الزهراء", "al-zahra-fatima"),
    ("محمد حداد", "haddad-mohamed"),
    ("נועה כהן", "cohen-noa"),
    ("प्रिया शर्मा", "sharma-priya"),
    ("அனன்யா ரவி", "ravi-ananya"),
    ("ณัฐพล สุวรรณ", "suwan-nattapon"),
)
_SPECIAL_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "þ": "th", "ü": "ue", "ö": "oe", "ä": "ae"}
)
_NOT_OF_A_USERNAME = re.compile(r"[^a-z0-9-]+")


class Person(msgspec.Struct, frozen=True):
    """Somebody of the faculty, before there is an account."""

    username: str
    full_name: str
    email: str


def make_people(chance: random.Random) -> Iterator[Person]:
    """People without end, no two with one user name."""
    taken: set[str] = set()
    native = list(_NATIVE)
    while True:
        if native and chance.random() < 0.03:
            full_name, username = native.pop(chance.randrange(len(native)))
        else:
            given, family = (chance.choice(words.split(" ")) for words in chance.choice(_NAMES))
            full_name = f"{given} {family}".replace("\u00a0", " ")
            username = _latin(f"{family}-{given}")
        username = _free_name(username, taken)
        yield Person(username, full_name, f"{username}@{_DOMAIN}")


def as_staff(person: Person) -> Person:
    """The person with an address of the staff."""
    return msgspec.structs.replace(person, email=f"{person.username}@{_STAFF_DOMAIN}")


def _latin(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().translate(_SPECIAL_LETTERS))
    return _NOT_OF_A_USERNAME.sub("", plain.encode("ascii", "ignore").decode())


def _free_name(username: str, taken: set[str]) -> str:
    number, free = 1, username
    while free in taken:
        number += 1
        free = f"{username}{number}"
    taken.add(free)
    return free
